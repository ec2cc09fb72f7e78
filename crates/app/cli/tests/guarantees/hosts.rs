//! Host endpoints: what of a host's own and forwarded traffic passes, and that no policy locks an agent
//! out.

mod lockout;
mod stages;
pub mod world;
