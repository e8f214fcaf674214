//! The page: what arrives, what was changed in its header, and where it went.
