"""NAS-Bench-101: the official files without TensorFlow, and all of its cells without any file.

Grouped here because nothing else needs them, and because each does by hand what a library would do elsewhere:

- `tfrecord`, the container of the files: what else reads it is TensorFlow 1, which no supported Python has; the
  checksums are those of the format, so a damaged file is named with the record.
- `results` and `messages`, over a million records of JSON around protocol buffers: messages of one length differ in
  their values alone and are taken apart as one matrix, rather than one after another in Python.
- `enumeration`, for evolution over the whole space and for files that are made here: isomorphic cells are told by the
  official hash, some 60 MD5 sums a cell. On arrays that takes 17 s for all 423,624, with hashlib 59 s (one core).
"""
