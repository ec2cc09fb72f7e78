//! One test or more for each clause.

mod build;
mod cluster;
mod endpoints;
mod fate;
mod hosts;
mod kubernetes;
mod order;
mod packets;
mod peers;
mod profiles;
mod selectors;
mod services;
mod staged;
mod stages;
mod unclaimed;
mod unreadable;
