//! Rows: looked up, copied, put side by side, searched.

use ledger::ElementType;

use super::bench::Bench;
use super::matrix::{Matrix, dense, int4};
use super::report::Report;
use super::subject::Subject;
use crate::engine_dir::TensorFormat;
use crate::ops::testing::Numbers;
use crate::ops::{HalfType, largest};

pub(super) fn embedding<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(30);
    let (rows, columns) = (203, 384);
    let formats = [
        int4(32, false, HalfType::F16),
        int4(64, true, HalfType::F16),
        int4(96, true, HalfType::Bf16),
        int4(128, false, HalfType::Bf16),
        TensorFormat::Int8 { group_size: 32 },
        TensorFormat::Int8 { group_size: 128 },
        dense(ElementType::F16),
        dense(ElementType::Bf16),
        dense(ElementType::F32),
    ];
    let tables = formats.map(|format| Matrix::random(format, rows, columns, &mut numbers));
    let bench = Bench::<S>::new(&tables);
    for (table, weight) in tables.iter().zip(&bench.weights) {
        for count in [1, 2, 17, 203, 300] {
            let ids: Vec<u32> = (0..count as u32).map(|index| (index * 37 + 202) % rows as u32).collect();
            let mut out = bench.unwritten(count * columns);
            bench.device.embed(weight, &ids, &mut out);
            report.at(format!("embed {count} of {}", table.words()));
            let expected: Vec<f64> =
                ids.iter().flat_map(|id| table.row(*id as usize)).map(|x| f64::from(*x)).collect();
            let found = bench.take(report, &out, count * columns);
            report.within("", 1e-7, &found, &expected);
        }
    }
}

pub(super) fn copied_rows<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(31);
    let bench = Bench::<S>::new(&[]);
    for (width, rows, at) in [(1, 0..1, 0), (96, 2..7, 3), (2560, 0..3, 1), (300, 4..4, 2)] {
        let (from, to) = (numbers.take(9 * width, 1.0), numbers.take(12 * width, 1.0));
        let (source, mut target) = (bench.holding(&from), bench.holding(&to));
        bench.device.copy_rows(&source, rows.clone(), width, &mut target, at);
        report.at(format!("copy_rows {rows:?} of {width} to {at}"));
        let mut expected = to;
        expected[at * width..][..rows.len() * width]
            .copy_from_slice(&from[rows.start * width..rows.end * width]);
        let found = bench.take(report, &target, expected.len());
        report.same("", &found, &expected);
    }
}

pub(super) fn gathered_rows<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(32);
    let bench = Bench::<S>::new(&[]);
    for width in [1, 96, 2561] {
        for rows in [&[0][..], &[0, 1, 2], &[3], &[1, 2, 4], &[0, 2, 3, 7], &[5, 6, 7, 8, 9]] {
            let x = numbers.take(10 * width, 1.0);
            let mut on_device = bench.holding(&x);
            bench.device.gather_rows(&mut on_device, rows, width);
            report.at(format!("gather_rows {rows:?} of {width}"));
            let found = bench.take(report, &on_device, x.len());
            let expected: Vec<f32> =
                rows.iter().flat_map(|row| &x[row * width..(row + 1) * width]).copied().collect();
            report.same("gathered", &found[..expected.len()], &expected);
            // Rows that no gathered one took the place of are left alone.
            report.same("the rest", &found[expected.len()..], &x[expected.len()..]);
        }
    }
}

pub(super) fn rows_side_by_side<S: Subject>(report: &mut Report) {
    let mut numbers = Numbers::new(33);
    let bench = Bench::<S>::new(&[]);
    for (tokens, width) in [(1, 1), (1, 1024), (5, 96), (70, 257)] {
        let (left, right) = (numbers.take(tokens * width, 1.0), numbers.take(tokens * width, 1.0));
        let mut out = bench.unwritten(2 * tokens * width);
        bench.device.concat_rows(&bench.holding(&left), &bench.holding(&right), tokens, width, &mut out);
        report.at(format!("concat_rows {tokens}x{width}"));
        let pairs = left.chunks_exact(width).zip(right.chunks_exact(width));
        let expected: Vec<f32> = pairs.flat_map(|(left, right)| [left, right].concat()).collect();
        let found = bench.take(report, &out, expected.len());
        report.same("", &found, &expected);
    }
}

pub(super) fn largest_of_rows<S: Subject>(report: &mut Report) {
    let infinity = f32::INFINITY;
    let mut numbers = Numbers::new(34);
    let bench = Bench::<S>::new(&[]);
    for width in [1, 5, 300, 20_000, 151_936] {
        let random = numbers.take(width, 9.0);
        let with = |values: &[(usize, f32)]| {
            let mut row = random.clone();
            values.iter().for_each(|(place, value)| row[place % width] = *value);
            row
        };
        let rows = [
            ("random", random.clone()),
            ("the last", with(&[(width - 1, 10.0)])),
            ("a tie", with(&[(3, 10.0), (width / 2, 10.0), (width - 1, 10.0)])),
            ("a tie far apart", with(&[(width / 3, 10.0), (width - 1, 10.0)])),
            ("a NaN first", with(&[(0, f32::NAN)])),
            ("a NaN last", with(&[(width - 1, f32::NAN)])),
            ("a negative NaN", with(&[(width / 2, -f32::NAN)])),
            ("zeros, the first negative", [vec![-0.0], vec![0.0; width - 1]].concat()),
            ("zeros, the last negative", [vec![0.0; width - 1], vec![-0.0]].concat()),
            ("negative zeros", vec![-0.0; width]),
            ("nothing above -inf", vec![-infinity; width]),
            ("one above -inf", [vec![-infinity; width - 1], vec![-3e38]].concat()),
            ("all negative", random.iter().map(|x| -x.abs() - 1.0).collect()),
            ("infinity", with(&[(width / 2, infinity)])),
            ("the largest number", with(&[(width / 2, f32::MAX)])),
        ];
        let all: Vec<f32> = rows.iter().flat_map(|(_, row)| row).copied().collect();
        let on_device = bench.holding(&all);
        for range in [0..rows.len(), 2..3, 4..9] {
            let found = bench.device.argmax_rows(&on_device, range.clone(), width);
            let expected: Vec<Option<u32>> =
                rows[range.clone()].iter().map(|(_, row)| largest(row).map(|(place, _)| place)).collect();
            report.at(format!("argmax of {width}, rows {range:?}"));
            if found.len() != expected.len() {
                report.fail(format!("{} answers for {} rows", found.len(), expected.len()));
            }
            for ((name, _), (found, expected)) in rows[range].iter().zip(found.iter().zip(&expected)) {
                if found != expected {
                    report.fail(format!("{name}: {found:?} instead of {expected:?}"));
                }
            }
        }
        bench.take(report, &on_device, all.len());
    }
}
