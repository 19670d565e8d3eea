//! Restarts: of the proxy, of what is behind it, and what systemd sees of them.

mod drain;
mod handover;
mod load;
mod notify;
mod replica;
mod rolling;
