mod connection;
mod upgrade;
