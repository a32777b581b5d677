"""Photos on their way into the bucket: folders, archives, downloads, the upload itself."""
