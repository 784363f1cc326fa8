//! Remote locations, parsed rather than matched.

use serde::{Deserialize, Serialize};

/// A parsed location.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RemoteUrl(String);

/// Who a repository is, whatever way it is fetched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RepoIdentity(String);
