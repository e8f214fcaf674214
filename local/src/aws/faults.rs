//! Faults on request.

/// A fault and the calls it hits.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {}

/// The faults that wait for their call.
#[derive(Debug, Clone, Default)]
pub struct Faults {}

impl Faults {
    /// Adds a fault.
    pub fn add(&self, fault: Fault) {
        todo!("{fault:?}")
    }

    /// Removes all.
    pub fn clear(&self) {
        todo!()
    }
}

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        todo!("{text}")
    }
}
