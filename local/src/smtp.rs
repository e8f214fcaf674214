//! The SMTP server that stands for the region's inbound endpoint.
