import numpy as np
import backstride.tf1 as tf

num_outputs = 2
x = tf.placeholder(tf.float32, [1, 4, 4, 1])


# custom init with the seed set to 0 by default
def custom_init(shape, dtype=tf.float32, partition_info=None, seed=0):
    return tf.random_normal(shape, dtype=dtype, seed=seed)


np.random.seed(1)
random_array = np.random.rand(1, 4, 4, 1)
print(random_array)

dense_out = tf.layers.dense(x, num_outputs, kernel_initializer=custom_init)
conv_out = tf.layers.conv2d(x, num_outputs, kernel_size=1, strides=1, kernel_initializer=custom_init)

relu = tf.nn.relu(conv_out)
fc0 = tf.contrib.layers.flatten(relu)

# up-sample
upsample_conv = tf.layers.conv2d_transpose(conv_out, 1, (1, 1), (1, 1), kernel_initializer=custom_init)
upsample_dense = tf.layers.conv2d_transpose(dense_out, 1, (1, 1), (1, 1), kernel_initializer=custom_init)

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())

    a = sess.run(dense_out, feed_dict={x: random_array})
    b = sess.run(conv_out, feed_dict={x: random_array})
    c = sess.run(relu, feed_dict={x: random_array})
    d = sess.run(fc0, feed_dict={x: random_array})

    print("Dense Output =", a)
    print("Conv 1x1 Output =", b)
    print("Same output? =", np.allclose(a, b, atol=1.e-5))

    result_conv = sess.run(upsample_conv, feed_dict={x: random_array})
    print('transpose of a conv layer: {} \n {}'.format(result_conv.shape, result_conv))

    result_dense = sess.run(upsample_dense, feed_dict={x: random_array})
    print('transpose of a dense layer: {} \n {}'.format(result_dense.shape, result_dense))
    print("Same output? =", np.allclose(result_conv, result_dense, atol=1.e-5))
