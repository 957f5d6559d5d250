//! Unique numbers for ids: cheap, and no secrets.
//!
//! Each thread has a key that the operating system's randomness made, and counts; the count is
//! spread by a permutation (the finalizer of SplitMix64, Steele et al. 2014). Two numbers of one
//! thread differ for 2^64 draws, and numbers of two threads, or of two hosts, carry different keys.

use std::{
    cell::Cell,
    hash::{BuildHasher, Hasher, RandomState},
};

thread_local! {
    static KEY: u64 = os_random();
    static COUNT: Cell<u64> = Cell::new(os_random());
}

fn os_random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A number of 64 bits that is not zero.
pub fn unique_u64() -> u64 {
    let count = COUNT.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    COUNT.set(count);
    match spread(count) {
        0 => unique_u64(),
        number => number,
    }
}

/// A number of 128 bits whose lower half is not zero.
pub fn unique_u128() -> u128 {
    let low = unique_u64();
    // The upper half is the key, masked so that ids of one thread do not look alike.
    let high = KEY.with(|key| key ^ spread(low));
    u128::from(high) << 64 | u128::from(low)
}

fn spread(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Lower-case hexadecimal digits of a number, all `2 * N` of them, into `out`.
pub fn write_hex(number: u128, out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut rest = number;
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(rest & 15).unwrap_or(0)];
        rest >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_of_many_threads_are_unique() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..10_000).map(|_| unique_u128()).collect::<Vec<_>>()))
            .collect();
        let numbers: HashSet<u128> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        assert_eq!(numbers.len(), 40_000);
    }

    #[test]
    fn hexadecimal_is_padded() {
        let mut digits = [0; 6];
        write_hex(0xab, &mut digits);
        assert_eq!(&digits, b"0000ab");
    }
}
