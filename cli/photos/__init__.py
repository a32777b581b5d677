"""Photos to upload: folders, archives, downloads, the upload."""
