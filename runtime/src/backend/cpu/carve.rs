//! Typed parts cut from one block of workspace bytes.

use half::{bf16, f16};

/// A number type of which every bit pattern is a value.
///
/// # Safety
/// Implement it only for types without padding and without invalid bit patterns.
pub unsafe trait PlainNumber: Copy {}

macro_rules! plain_numbers {
    ($($number:ty),*) => {
        // SAFETY: primitive numbers, or transparent wrappers of one, without padding and without invalid patterns.
        $(unsafe impl PlainNumber for $number {})*
    };
}
plain_numbers!(u8, i8, u16, i32, u32, f32, f16, bf16);

/// Cuts slices off the front of a workspace, each aligned to [`Carver::ALIGNMENT`].
#[derive(Debug)]
pub struct Carver<'a> {
    rest: &'a mut [u8],
}

impl<'a> Carver<'a> {
    /// Alignment of every part, in bytes: one cache line, one AVX-512 register.
    pub const ALIGNMENT: usize = 64;

    /// Starts at the first aligned byte of `workspace`.
    pub fn new(workspace: &'a mut [u8]) -> Self {
        Self { rest: workspace }
    }

    /// Bytes that a part of `count` elements takes, padding to the next aligned byte included; the sum over all parts
    /// plus [`Carver::ALIGNMENT`] is enough for any start address.
    pub const fn bytes<T>(count: usize) -> usize {
        count.saturating_mul(size_of::<T>()).next_multiple_of(Self::ALIGNMENT)
    }

    /// The next `count` elements, or `None` if too few bytes are left. Their content is whatever the bytes were.
    pub fn take<T: PlainNumber>(&mut self, count: usize) -> Option<&'a mut [T]> {
        let rest = std::mem::take(&mut self.rest);
        let skip = rest.as_ptr().align_offset(Self::ALIGNMENT);
        let length = count.checked_mul(size_of::<T>())?;
        let end = skip.checked_add(length)?;
        if end > rest.len() {
            self.rest = rest;
            return None;
        }
        let (front, rest) = rest.split_at_mut(end);
        self.rest = rest;
        let part = &mut front[skip..];
        // SAFETY: `part` is `count * size_of::<T>()` bytes that are borrowed mutably for `'a` and start at a multiple of
        // 64, which is a multiple of the alignment of every `PlainNumber`; every bit pattern is a valid `T`.
        Some(unsafe { std::slice::from_raw_parts_mut(part.as_mut_ptr().cast::<T>(), count) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_aligned_disjoint_and_bounded() {
        let mut bytes = vec![0u8; Carver::bytes::<i8>(100) + Carver::bytes::<f32>(7) + Carver::ALIGNMENT + 1];
        for start in 0..2 {
            let mut carver = Carver::new(&mut bytes[start..]);
            let small = carver.take::<i8>(100).unwrap();
            let floats = carver.take::<f32>(7).unwrap();
            assert_eq!(small.as_ptr() as usize % 64, 0);
            assert_eq!(floats.as_ptr() as usize % 64, 0);
            assert_eq!(floats.as_ptr() as usize - small.as_ptr() as usize, 128);
            assert!(carver.take::<u8>(200).is_none());
            assert!(carver.take::<f32>(usize::MAX).is_none());
        }
    }
}
