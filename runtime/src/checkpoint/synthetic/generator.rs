//! Random words from counters: the finaliser of SplitMix64 over an arithmetic sequence (Steele, Lea and Flood,
//! "Fast splittable pseudorandom number generators", OOPSLA 2014). Word `i` needs no word before it.

/// The odd number nearest to 2^64 divided by the golden ratio: the step of the sequence.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The stream of words of one row of one tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream(u64);

impl Stream {
    /// The stream of a tensor, of which [`Stream::row`] makes those of its rows. `purpose` tells streams of one
    /// tensor apart.
    pub(super) fn new(seed: u64, name: &str, purpose: u64) -> Stream {
        let start = mix(mix(seed.wrapping_add(STEP)) ^ purpose);
        Stream(name.bytes().fold(start, |state, byte| mix(state ^ u64::from(byte)).wrapping_add(STEP)))
    }

    /// The stream of row `row`.
    pub(super) fn row(self, row: usize) -> Stream {
        Stream(mix(self.0 ^ mix((row as u64).wrapping_mul(STEP))))
    }

    /// Word `index`.
    #[inline]
    pub(super) fn word(self, index: usize) -> u64 {
        mix(self.0.wrapping_add((index as u64).wrapping_mul(STEP)))
    }

    /// Word `index` as a number in 0..1.
    pub(super) fn unit(self, index: usize) -> f64 {
        (self.word(index) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Fills `bytes` with words from the first on.
    pub(super) fn fill(self, bytes: &mut [u8]) {
        let mut chunks = bytes.chunks_exact_mut(8);
        let mut index = 0;
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.word(index).to_le_bytes());
            index += 1;
        }
        let rest = chunks.into_remainder();
        rest.copy_from_slice(&self.word(index).to_le_bytes()[..rest.len()]);
    }
}

#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
