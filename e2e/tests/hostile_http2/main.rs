//! Attacks over HTTP/2, frame by frame: each is cut off within its allowance, costs a bounded amount of memory, and
//! leaves the proxy serving everybody else.

mod broken;
mod entry;
mod floods;
mod frames;
mod heads;
mod hidden;
mod idle;
