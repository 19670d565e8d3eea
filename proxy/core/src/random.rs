//! Randomness as an argument.
//!
//! Every decision that needs chance takes a [`Rng`], so that a run replays from its seed.

/// A source of random bits.
pub trait Rng {
    /// The next 64 uniformly distributed bits.
    fn next_u64(&mut self) -> u64;

    /// A uniform integer in `0..bound`; `bound` must be positive.
    ///
    /// Uses the multiply-shift reduction (Lemire 2019); the bias is below 2⁻³² for every
    /// bound that fits 32 bits, far beneath what a balancer could show.
    fn below(&mut self, bound: usize) -> usize {
        debug_assert!(bound > 0, "an empty range has no member");
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// A uniform number in `[0, 1)` with 53 random bits.
    fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Xoshiro256++ (Blackman and Vigna 2019): small, fast, and good enough for load balancing.
///
/// ```
/// use heddle_core::random::{Rng, Xoshiro};
/// let (mut a, mut b) = (Xoshiro::seeded(7), Xoshiro::seeded(7));
/// assert_eq!(a.next_u64(), b.next_u64());
/// ```
#[derive(Debug, Clone)]
pub struct Xoshiro([u64; 4]);

impl Xoshiro {
    /// A generator whose whole future is given by `seed` (expanded by SplitMix64).
    pub fn seeded(seed: u64) -> Self {
        let mut state = seed;
        let mut word = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix64(state)
        };
        Self([word(), word(), word(), word()])
    }
}

impl Rng for Xoshiro {
    fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        result
    }
}

/// The finaliser of SplitMix64: a bijection of 64-bit words with good avalanche.
pub fn mix64(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_covers_its_range_evenly() {
        let mut rng = Xoshiro::seeded(1);
        let mut seen = [0_u32; 7];
        for _ in 0..70_000 {
            seen[rng.below(7)] += 1;
        }
        assert!(
            seen.iter().all(|&n| (9_500..10_500).contains(&n)),
            "{seen:?}"
        );
    }

    #[test]
    fn unit_stays_below_one() {
        let mut rng = Xoshiro::seeded(2);
        assert!((0..10_000).all(|_| (0.0..1.0).contains(&rng.unit())));
    }
}
