//! The whole stack: started on free ports, stopped when dropped.
