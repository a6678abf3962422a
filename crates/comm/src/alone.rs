use crate::{Collective, CommError, Traffic};

/// A single worker: it has nobody to talk to and sends nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Collective for Alone {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        1
    }
    fn all_reduce_sum(&mut self, _: &mut [f32]) -> Result<(), CommError> {
        Ok(())
    }
    fn all_reduce_sum_f64(&mut self, _: &mut [f64]) -> Result<(), CommError> {
        Ok(())
    }
    fn broadcast(&mut self, root: usize, _: &mut [u8]) -> Result<(), CommError> {
        CommError::check_root(root, 1)
    }
    fn barrier(&mut self) -> Result<(), CommError> {
        Ok(())
    }
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}
