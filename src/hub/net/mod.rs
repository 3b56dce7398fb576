//! HTTP to the Hugging Face hub and to where it sends us: URLs, proxies, and requests that keep the token at home.

mod client;
mod proxies;
mod retry;
mod throughput;
pub(super) mod url;

pub(super) use client::{COMMIT, Client, Method, text};
pub use proxies::Proxies;
pub(super) use retry::{RequestError, Retries};
