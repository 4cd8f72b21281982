use super::*;

#[test]
fn canonical_forms_are_those_that_the_api_server_stores() {
    let cases = [
        ("1", "1"),
        ("0", "0"),
        ("0Gi", "0"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024", "1024"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1023Ki", "1023Ki"),
        ("512Mi", "512Mi"),
        ("1000Ki", "1000Ki"),
        ("0.5Ki", "512"),
        ("10G", "10G"),
        ("10000M", "10G"),
        ("1e3", "1e3"),
        ("12e6", "12e6"),
        ("5E", "5E"),
        ("100n", "100n"),
        ("0.1n", "1n"),
        ("+2", "2"),
        ("-1Mi", "-1Mi"),
        (".5", "500m"),
        ("2.", "2"),
    ];
    for (text, canonical) in cases {
        let quantity = Quantity::parse(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(quantity.canonical(), canonical, "{text}");
        assert_eq!(Quantity::parse(canonical).map(Quantity::canonical).as_deref(), Some(canonical));
    }
}

#[test]
fn anything_else_is_not_a_quantity() {
    for text in ["", "Gi", "1Gb", "1 Gi", "1.2.3", "--1", "e3", "1e", "1KiB", "1ki", ".", "1e1.5", "é"] {
        assert_eq!(Quantity::read(text), Err(ParseError::Syntax), "{text}");
    }
}

#[test]
fn what_is_beyond_kubernetes_is_too_large_and_what_is_fine_is_rounded() {
    for text in ["9223372036854775808", "8Ei", "1e99", "99999999E", "1e99999999999", &"9".repeat(60)] {
        assert_eq!(Quantity::read(text), Err(ParseError::TooLarge), "{text}");
    }
    for (text, canonical) in [
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775807e-3", "9223372036854775807e-3"),
        ("7.999999999Ei", "9223372035701854303393153024n"),
        ("1e-99", "1e-9"),
        ("0e99999", "0"),
        ("0000000000000000000000000000000000000000000001", "1"),
        ("1.0000000000000000000000000000000000000000000001", "1000000001n"),
        ("0.00000000000000000000001Ki", "1n"),
        ("-1e99", "-9223372036854775807"),
    ] {
        assert_eq!(Quantity::parse(text).map(Quantity::canonical).as_deref(), Some(canonical), "{text}");
    }
}

#[test]
fn the_same_amount_is_equal_however_it_is_written() {
    let parse = |text| Quantity::parse(text).unwrap();
    assert_eq!(parse("1Gi").nanos(), parse("1024Mi").nanos());
    assert!(parse("1Gi").nanos() > parse("1G").nanos());
}

#[test]
fn amounts_are_rounded_away_from_nothing() {
    let parse = |text| Quantity::parse(text).unwrap();
    assert_eq!((parse("1500m").units(), parse("-1500m").units(), parse("2").units()), (2, -2, 2));
    assert_eq!(parse("1u").rounded_to_milli().canonical(), "1m");
    assert!(parse("2").is_whole() && !parse("1500m").is_whole());
}
