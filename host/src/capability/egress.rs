//! stub
/// p
#[derive(Debug, Default)]
pub struct Policy;

impl Policy {
    /// p
    pub fn new(_grants: &crate::manifest::Grants) -> Policy {
        Policy
    }
}
