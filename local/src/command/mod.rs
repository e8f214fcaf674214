//! The commands of `cargo local`, a file each: what it takes, and `run`.

pub(crate) mod bench;
pub(crate) mod deployed;
pub(crate) mod explain;
pub(crate) mod load;
pub(crate) mod reliability;
pub(crate) mod routes;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod stack;
