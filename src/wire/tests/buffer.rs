//! `Buffer` as a `Frame`: it allows no access beyond its end, and sets added bytes to zero.

use tcp_bounce_wire::Frame;
use tcp_bounce_wire::frame::{Buffer, Span};

type Word = [u8; 4];

/// Returns 12 bytes: a frame of 8 bytes, and room to grow by 4.
fn bytes() -> [u8; 12] {
    [1, 2, 3, 4, 5, 6, 7, 8, 0xa5, 0xa5, 0xa5, 0xa5]
}

#[test]
fn returns_views_within_the_frame_only() {
    let mut bytes = bytes();
    let mut frame = Buffer::new(&mut bytes, 8);
    assert_eq!(frame.at(0), Some(&mut [1u8, 2, 3, 4]));
    assert_eq!(frame.at(3), Some(&mut [4u8, 5, 6, 7]));
    assert_eq!(frame.at(4), Some(&mut [5u8, 6, 7, 8]));
    for offset in [5, 8, 9, 12, 13, usize::MAX - 2, usize::MAX] {
        assert_eq!(frame.at::<Word>(offset), None, "offset {offset}");
    }
}

#[test]
fn ends_the_last_view_with_the_frame() {
    let mut bytes = bytes();
    let mut frame = Buffer::new(&mut bytes, 5);
    assert_eq!(frame.last(), Some(&mut [5u8]));
    assert_eq!(frame.last(), Some(&mut [2u8, 3, 4, 5]));
    assert_eq!(frame.last(), Some(&mut [1u8, 2, 3, 4, 5]));
    assert_eq!(frame.last::<[u8; 6]>(), None);
}

#[test]
fn writes_through_views() {
    let mut bytes = bytes();
    let mut frame = Buffer::new(&mut bytes, 8);
    frame.at::<Word>(1).expect("within the frame").fill(0);
    frame.last::<[u8; 2]>().expect("within the frame").fill(9);
    assert_eq!(bytes, [1, 0, 0, 0, 0, 6, 9, 9, 0xa5, 0xa5, 0xa5, 0xa5]);
}

#[test]
fn grows_with_zeros_while_there_is_room() {
    for length in 8..=12 {
        let mut bytes = bytes();
        let mut expected = bytes;
        expected[8..length].fill(0);
        let mut frame = Buffer::new(&mut bytes, 8);
        assert_eq!(frame.resize(length), Some(()));
        assert_eq!(frame.len(), length);
        assert_eq!(bytes, expected);
    }
}

#[test]
fn shrinks_at_the_end() {
    let mut bytes = bytes();
    let mut frame = Buffer::new(&mut bytes, 8);
    assert_eq!(frame.resize(4), Some(()));
    assert_eq!(frame.len(), 4);
    assert_eq!(frame.last(), Some(&mut [1u8, 2, 3, 4]));
    assert_eq!(frame.at::<Word>(1), None);
}

#[test]
fn stays_unchanged_without_room() {
    for length in [13, 100, usize::MAX] {
        let mut unchanged = bytes();
        let mut frame = Buffer::new(&mut unchanged, 8);
        assert_eq!(frame.resize(length), None);
        assert_eq!(frame.len(), 8);
        assert_eq!(unchanged, bytes());
    }
}

#[test]
fn is_never_longer_than_the_buffer() {
    assert_eq!(Buffer::new(&mut bytes(), 13).len(), 12);
    assert_eq!(Buffer::new(&mut [], 1).len(), 0);
}

/// Checks that the words of a span are read up to the limit, or up to the last whole word in the frame.
#[test]
fn reads_the_words_of_a_span() {
    let original: [u8; 40] = std::array::from_fn(|index| index as u8 + 1);
    for offset in 8..=40 {
        for length in 0..=40 {
            for limit in [0, 1, 7, 8, 9, 16, 40] {
                let mut bytes = original;
                let mut read = Vec::new();
                let count =
                    Span { offset, length }.read_words(&mut Buffer::new(&mut bytes, 40), limit, |index, word| {
                        assert_eq!(8 * index, read.len());
                        read.extend(word);
                    });
                let (wanted, accessible) = (length.min(limit), 40 - offset);
                let expected = if wanted <= accessible { wanted } else { accessible / 8 * 8 };
                assert_eq!(count, expected, "{offset} {length} {limit}");
                assert_eq!(read[..count], original[offset..offset + count], "{offset} {length} {limit}");
                assert!(read[count..].len() < 8 && read[count..].iter().all(|&byte| byte == 0), "{read:?}");
            }
        }
    }
}
