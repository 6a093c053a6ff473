//! Responders: XDP programs that are attached to interfaces, and updated when the state of the host changes.

pub mod affected;
mod error;
pub mod exclusions;
mod grace;
mod identity;
pub mod mode;
mod parallel;
mod plan;
#[allow(clippy::module_inception, reason = "the folder is named after its main type")]
mod responder;
mod retry;
pub mod scope;
mod services;
mod set;
pub mod snapshot;
mod summary;
mod vacancy;

pub use affected::AffectedConnections;
pub use error::ResponderError;
pub use exclusions::Exclusions;
pub use plan::{
    MTU_OF_ETHERNET, MTU_OF_SMALL_BUFFERS, ProgramPlan, fragments, is_tested_with_fragments, service_tables,
    supports_any_mtu,
};
pub use responder::{Responder, Sample};
pub use scope::Scope;
pub use set::{Change, RETRY_TIME, ResponderSet, tick_until};
pub use snapshot::HostSnapshot;
pub use summary::AnswerSummary;
pub use vacancy::check_vacant;
