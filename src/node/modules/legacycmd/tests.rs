//! The module with a database and files that are values.
