"""A network on pictures, folders and videos: tiles, threads, whole files, runs that go on."""
