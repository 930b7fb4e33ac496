//! Where a product goes.

/// What happens to the outputs' old values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// `out = y`.
    Overwrite,
    /// `out += y`, for residual connections.
    Add,
}

impl Store {
    /// Stores as many products as `out` has places.
    #[inline(always)]
    pub(crate) fn put(self, out: &mut [f32], products: &[f32]) {
        match self {
            Self::Overwrite => out.iter_mut().zip(products).for_each(|(out, &product)| *out = product),
            Self::Add => out.iter_mut().zip(products).for_each(|(out, &product)| *out += product),
        }
    }
}
