//! A look at a rival's buffers before they are measured.
//!
//! Owns the check that the buffers which are out at once are there, aligned, apart from each other, and writable at both
//! ends. The rivals that deal in pointers of others use it when they are made.

use super::{Hand, Rival, Seat, Shape};
use crate::units::{self, MIB};

/// Bytes that are out at once at most, if that is more than two buffers.
const OUT: usize = 64 * MIB;

/// Takes up to `most` buffers, writes to each, and gives all back. The error says what is wrong with them.
pub fn examine<R: Rival>(rival: &R, shape: Shape, most: usize) -> Result<(), String> {
    let wanted = most
        .min((OUT / shape.stride()).max(2))
        .min(rival.capacity().unwrap_or(usize::MAX));
    let mut hand = rival.hand(Seat {
        taker: 0,
        takers: 1,
    });
    let mut held = Vec::with_capacity(wanted);
    let mut outcome = Ok(());
    while held.len() < wanted {
        let Some(buffer) = hand.take() else {
            outcome = Err(format!("it returned null with {} buffers out", held.len()));
            break;
        };
        held.push(buffer);
    }
    let starts = held
        .iter_mut()
        .map(|buffer| hand.bytes(buffer).as_ptr().addr());
    outcome = outcome.and(check(starts.collect(), shape));
    if outcome.is_ok() {
        for buffer in &mut held {
            let bytes = hand.bytes(buffer);
            if let Some(first) = bytes.first_mut() {
                *first = 1;
            }
            if let Some(last) = bytes.last_mut() {
                *last = 1;
            }
        }
    }
    while let Some(buffer) = held.pop() {
        hand.give(buffer);
    }
    outcome
}

/// Whether buffers that start there are aligned, and none reaches into another.
fn check(mut starts: Vec<usize>, shape: Shape) -> Result<(), String> {
    let askew = |start: &&usize| !start.is_multiple_of(shape.alignment);
    if let Some(start) = starts.iter().find(askew) {
        return Err(format!(
            "it returned a buffer at {start:#x}, which is not aligned to {}",
            shape.alignment
        ));
    }
    starts.sort_unstable();
    for pair in starts.windows(2) {
        let &[one, next] = pair else { continue };
        if next - one < shape.size {
            return Err(format!(
                "it returned buffers that overlap: {} at {one:#x} while another one at {next:#x} was out",
                units::bytes(shape.size)
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_must_be_aligned_and_apart() {
        let shape = Shape {
            size: 512,
            alignment: 256,
            buffers: 4,
        };
        assert_eq!(check(vec![1024, 0, 512], shape), Ok(()));
        assert_eq!(check(Vec::new(), shape), Ok(()));
        let said = |starts: &[usize]| check(starts.to_vec(), shape).expect_err("it is wrong");
        assert!(said(&[0, 640]).contains("0x280, which is not aligned to 256"));
        assert!(said(&[1024, 0, 768]).contains("0x300 while another one at 0x400"));
        assert!(said(&[512, 512]).contains("overlap"));
    }
}
