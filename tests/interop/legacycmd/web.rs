//! The calls that Centreon Web makes, in their order (docs/protocol.md section 16).
