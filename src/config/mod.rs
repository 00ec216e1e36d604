//! Configuration files to validated settings. Reads files; opens no socket, starts nothing.

pub mod settings;
