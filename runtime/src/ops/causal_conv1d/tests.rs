use super::{commit, forward, reference, verify};
use crate::ops::testing::{Guarded, Numbers, assert_close, every_cpu};

#[test]
fn agrees_with_the_reference_and_moves_the_state() {
    let mut numbers = Numbers::new(1);
    for (channels, kernel, tokens) in
        [(1, 4, 1), (40, 4, 2), (40, 4, 3), (1030, 4, 65), (2500, 4, 7), (33, 1, 5), (33, 2, 4), (48, 5, 6)]
    {
        let taps = numbers.take(kernel * channels, 1.0);
        let x = numbers.take(tokens * channels, 2.0);
        let history = numbers.take((kernel - 1) * channels, 2.0);
        let expected = reference::forward(channels, &taps, &x, &history);
        let all = [history.clone(), x.clone()].concat();
        for cpu in every_cpu() {
            let (mut out, mut state) = (Guarded::of(&x), Guarded::of(&history));
            forward(&cpu, channels, &taps, out.slice(), state.slice());
            assert_close(&out.take(), &expected, 1e-6, "conv");
            assert_eq!(state.take(), all[tokens * channels..], "state is the last inputs");
        }
    }
}

#[test]
fn any_split_gives_the_same_bits() {
    let (channels, tokens) = (300, 23);
    let mut numbers = Numbers::new(2);
    let taps = numbers.take(4 * channels, 1.0);
    let x = numbers.take(tokens * channels, 2.0);
    for cpu in every_cpu() {
        let run = |lengths: &[usize]| {
            let (mut x, mut state) = (x.clone(), vec![0.0; 3 * channels]);
            let mut rest = &mut x[..];
            for &length in lengths {
                let (part, after) = rest.split_at_mut(length * channels);
                forward(&cpu, channels, &taps, part, &mut state);
                rest = after;
            }
            assert!(rest.is_empty());
            (x, state)
        };
        let whole = run(&[tokens]);
        assert_eq!(whole, run(&[1; 23]));
        assert_eq!(whole, run(&[1, 2, 3, 1, 1, 15]));
    }
}

#[test]
fn accepted_inputs_move_the_window_as_if_nothing_had_been_rejected() {
    let mut numbers = Numbers::new(3);
    for (channels, kernel, tokens) in [(300, 4, 4), (1030, 4, 8), (33, 2, 3), (48, 5, 2), (20, 1, 3)] {
        let taps = numbers.take(kernel * channels, 1.0);
        let x = numbers.take(tokens * channels, 2.0);
        let history = numbers.take((kernel - 1) * channels, 2.0);
        for cpu in every_cpu() {
            let (mut whole, mut state) = (x.clone(), history.clone());
            forward(&cpu, channels, &taps, &mut whole, &mut state);
            for accepted in 0..=tokens {
                let room = vec![f32::NAN; tokens * channels];
                let (mut out, mut window) = (Guarded::of(&x), Guarded::of(&[&history[..], &room].concat()));
                verify(&cpu, channels, &taps, out.slice(), window.slice());
                assert_eq!(out.take(), whole);
                commit(channels, kernel - 1, accepted, window.slice());
                let (mut prefix, mut expected) = (x[..accepted * channels].to_vec(), history.clone());
                forward(&cpu, channels, &taps, &mut prefix, &mut expected);
                assert_eq!(window.take()[..expected.len()], expected, "{accepted} of {tokens}");
            }
        }
    }
}
