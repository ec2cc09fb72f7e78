//! One test or more for each clause.

mod build;
mod endpoints;
mod kubernetes;
mod order;
mod packets;
mod peers;
mod profiles;
mod selectors;
mod unclaimed;
mod unreadable;
