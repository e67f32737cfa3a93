import backstride.tf1 as tf
import numpy as np

x1 = tf.ones(shape=[64, 7, 7, 256])
y1 = tf.layers.conv2d_transpose(x1, 128, 3, strides=2, padding='SAME')

w = tf.ones([3, 3, 128, 256])
y2 = tf.nn.conv2d_transpose(x1, w, output_shape=[64, 14, 14, 128], strides=[1, 2, 2, 1], padding='SAME')

x2 = tf.nn.conv2d(y2, w, strides=[1, 2, 2, 1], padding='SAME')

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    y1_value, y2_value, x2_value=sess.run([y1, y2, x2])
    print('downsampleg example')
    print(y1_value.shape)
    print(y2_value.shape)
    print(x2_value.shape)

tf.reset_default_graph()
image = tf.ones(shape=[64, 14, 14, 128])
w = tf.ones([3, 3, 128, 256])

x = tf.nn.conv2d(image, w, strides=[1, 3, 3, 1], padding='VALID')

y1 = tf.layers.conv2d_transpose(x, 128, kernel_size=3, strides=3, padding='VALID')
y2 = tf.nn.conv2d_transpose(x, w, output_shape=[64, 14, 14, 128], strides=[1, 3, 3, 1], padding='VALID')

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    x_value, y1_value, y2_value = sess.run([x, y1, y2])
    print('upsample example')
    print(x_value.shape)
    print(y1_value.shape)
    print(y2_value.shape)
