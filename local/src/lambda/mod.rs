//! The Lambda service: Runtime API, instances of the real binaries, asynchronous invocation, and the queue poller.
