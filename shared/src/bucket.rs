//! The bucket: objects read into one buffer, records written.
