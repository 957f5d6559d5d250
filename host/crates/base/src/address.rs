//! Addresses that are not on the public internet.
//!
//! A name that a manifest grants may resolve to any address that its owner, or the poisoner of a
//! cache, wants: the host's own loopback services, its neighbours, the cloud's metadata service. So
//! what counts is the address, in whichever of IPv6's notations an IPv4 address hides. The ranges
//! are those of the IANA special-purpose address registries (RFC 6890 and its updates).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Why an address is refused unless it is granted, and the operator allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// The metadata service of a cloud, which hands out credentials.
    Metadata,
    /// 127.0.0.0/8 and ::1.
    Loopback,
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16.
    Private,
    /// fc00::/7, and the older fec0::/10.
    UniqueLocal,
    /// 169.254.0.0/16 and fe80::/10.
    LinkLocal,
    /// 100.64.0.0/10, between a provider and its customers.
    Shared,
    /// 224.0.0.0/4 and ff00::/8.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// 0.0.0.0/8 and ::, which a kernel takes for this very machine.
    Unspecified,
    /// For documents: 192.0.2.0/24, 2001:db8::/32 and others.
    Documentation,
    /// An IPv4 address inside an IPv6 one, to be translated on the way: NAT64, 6to4, Teredo,
    /// IPv4-compatible.
    Translated,
    /// Everything else that is not meant to be reached over the internet.
    Reserved,
}

impl Special {
    /// The class of an address; none if it is on the public internet.
    pub fn of(address: IpAddr) -> Option<Special> {
        match address.to_canonical() {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// The class of some address of a network that is not on the public internet; none if all of
    /// its addresses are.
    pub fn within(network: &IpNet) -> Option<Special> {
        match network {
            IpNet::V4(network) => within_v4(network),
            IpNet::V6(network) => within_v6(network),
        }
    }
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Special::Metadata => "a cloud's metadata service",
            Special::Loopback => "a loopback address",
            Special::Private => "a private address",
            Special::UniqueLocal => "a unique local address",
            Special::LinkLocal => "a link-local address",
            Special::Shared => "an address of a provider's shared range",
            Special::Multicast => "a multicast address",
            Special::Broadcast => "the broadcast address",
            Special::Unspecified => "an unspecified address",
            Special::Documentation => "an address for documentation",
            Special::Translated => "an IPv4 address within an IPv6 address",
            Special::Reserved => "a reserved address",
        })
    }
}

/// The metadata services that are not found by their range alone: EC2 and most others, Azure's,
/// Alibaba's, Oracle's.
const METADATA_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// EC2's over IPv6, and Google's.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

/// The first range that holds an address decides.
const RANGES_V4: [(Ipv4Net, Special); 17] = [
    (v4(0, 0, 0, 0, 8), Special::Unspecified),
    (v4(127, 0, 0, 0, 8), Special::Loopback),
    (v4(10, 0, 0, 0, 8), Special::Private),
    (v4(172, 16, 0, 0, 12), Special::Private),
    (v4(192, 168, 0, 0, 16), Special::Private),
    (v4(169, 254, 0, 0, 16), Special::LinkLocal),
    (v4(100, 64, 0, 0, 10), Special::Shared),
    (v4(192, 0, 2, 0, 24), Special::Documentation),
    (v4(198, 51, 100, 0, 24), Special::Documentation),
    (v4(203, 0, 113, 0, 24), Special::Documentation),
    // Protocol assignments.
    (v4(192, 0, 0, 0, 24), Special::Reserved),
    // Relays of 6to4, withdrawn.
    (v4(192, 88, 99, 0, 24), Special::Translated),
    // Measurements between networks.
    (v4(198, 18, 0, 0, 15), Special::Reserved),
    (v4(224, 0, 0, 0, 4), Special::Multicast),
    (v4(255, 255, 255, 255, 32), Special::Broadcast),
    (v4(240, 0, 0, 0, 4), Special::Reserved),
    // AS112, for queries that should not have left their network.
    (v4(192, 175, 48, 0, 24), Special::Reserved),
];

fn of_v4(address: Ipv4Addr) -> Option<Special> {
    if METADATA_V4.contains(&address) {
        return Some(Special::Metadata);
    }
    let range = RANGES_V4.iter().find(|(range, _)| range.contains(&address));
    range.map(|(_, special)| *special)
}

fn within_v4(network: &Ipv4Net) -> Option<Special> {
    if METADATA_V4.iter().any(|address| network.contains(address)) {
        return Some(Special::Metadata);
    }
    let meets = |range: &Ipv4Net| range.contains(network) || network.contains(range);
    RANGES_V4.iter().find(|(range, _)| meets(range)).map(|(_, special)| *special)
}

const fn v6(head: [u16; 6], bits: u8) -> Ipv6Net {
    let [a, b, c, d, e, f] = head;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, 0, 0), bits)
}

/// The only block from which public addresses are given out.
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0], 3);

/// The first range that holds an address decides.
const RANGES_V6: [(Ipv6Net, Special); 16] = [
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), Special::Unspecified),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), Special::Loopback),
    (v6([0, 0, 0, 0, 0, 0], 96), Special::Translated),
    (v6([0, 0, 0, 0, 0, 0xffff], 96), Special::Translated),
    (v6([0, 0, 0, 0, 0xffff, 0], 96), Special::Translated),
    (v6([0x64, 0xff9b, 0, 0, 0, 0], 96), Special::Translated),
    (v6([0x64, 0xff9b, 1, 0, 0, 0], 48), Special::Translated),
    (v6([0x2002, 0, 0, 0, 0, 0], 16), Special::Translated),
    (v6([0x2001, 0, 0, 0, 0, 0], 32), Special::Translated),
    (v6([0x2001, 0, 0, 0, 0, 0], 23), Special::Reserved),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0], 32), Special::Documentation),
    (v6([0x3fff, 0, 0, 0, 0, 0], 20), Special::Documentation),
    (v6([0xfc00, 0, 0, 0, 0, 0], 7), Special::UniqueLocal),
    (v6([0xfec0, 0, 0, 0, 0, 0], 10), Special::UniqueLocal),
    (v6([0xfe80, 0, 0, 0, 0, 0], 10), Special::LinkLocal),
    (v6([0xff00, 0, 0, 0, 0, 0], 8), Special::Multicast),
];

fn of_v6(address: Ipv6Addr) -> Option<Special> {
    if METADATA_V6.contains(&address) {
        return Some(Special::Metadata);
    }
    let range = RANGES_V6.iter().find(|(range, _)| range.contains(&address));
    match range {
        Some((_, special)) => Some(*special),
        None if GLOBAL_UNICAST.contains(&address) => None,
        None => Some(Special::Reserved),
    }
}

fn within_v6(network: &Ipv6Net) -> Option<Special> {
    if METADATA_V6.iter().any(|address| network.contains(address)) {
        return Some(Special::Metadata);
    }
    let meets = |range: &Ipv6Net| range.contains(network) || network.contains(range);
    match RANGES_V6.iter().find(|(range, _)| meets(range)) {
        Some((_, special)) => Some(*special),
        None if GLOBAL_UNICAST.contains(network) => None,
        None => Some(Special::Reserved),
    }
}

/// The IPv4 address that a translator would take out of an IPv6 one. A grant of the translator's
/// prefix alone does not reach what lies behind it.
pub fn translated(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address.to_canonical() else { return None };
    let s = address.segments();
    let pair = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // IPv4-compatible (:: and ::1 are none), IPv4-translated, NAT64.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => pair(high, low),
        // NAT64's local prefix: where the address lies is the network's choice; most end with it.
        [0x64, 0xff9b, 1, .., high, low] => pair(high, low),
        [0x2002, high, low, ..] => pair(high, low),
        // Teredo: the client's address, inverted.
        [0x2001, 0, .., high, low] => pair(!high, !low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn special_addresses_are_told_by_their_class() {
        for (text, special) in [
            ("169.254.169.254", Special::Metadata),
            ("168.63.129.16", Special::Metadata),
            ("100.100.100.200", Special::Metadata),
            ("fd00:ec2::254", Special::Metadata),
            ("fd20:ce::254", Special::Metadata),
            ("127.0.0.1", Special::Loopback),
            ("127.255.255.255", Special::Loopback),
            ("::1", Special::Loopback),
            ("10.0.0.0", Special::Private),
            ("10.255.255.255", Special::Private),
            ("172.16.0.1", Special::Private),
            ("172.31.255.255", Special::Private),
            ("192.168.1.1", Special::Private),
            ("fc00::1", Special::UniqueLocal),
            ("fdff:ffff::1", Special::UniqueLocal),
            ("fec0::1", Special::UniqueLocal),
            ("169.254.0.1", Special::LinkLocal),
            ("fe80::1", Special::LinkLocal),
            ("100.64.0.1", Special::Shared),
            ("100.127.255.255", Special::Shared),
            ("224.0.0.1", Special::Multicast),
            ("239.255.255.255", Special::Multicast),
            ("ff02::1", Special::Multicast),
            ("255.255.255.255", Special::Broadcast),
            ("0.0.0.0", Special::Unspecified),
            ("0.1.2.3", Special::Unspecified),
            ("::", Special::Unspecified),
            ("192.0.2.1", Special::Documentation),
            ("198.51.100.1", Special::Documentation),
            ("203.0.113.1", Special::Documentation),
            ("2001:db8::1", Special::Documentation),
            ("3fff::1", Special::Documentation),
            ("192.0.0.8", Special::Reserved),
            ("198.18.0.1", Special::Reserved),
            ("198.19.255.255", Special::Reserved),
            ("240.0.0.1", Special::Reserved),
            ("100::1", Special::Reserved),
            ("5f00::1", Special::Reserved),
            ("4000::1", Special::Reserved),
            ("2001:10::1", Special::Reserved),
            ("64:ff9b::808:808", Special::Translated),
            ("64:ff9b:1::a00:1", Special::Translated),
            ("2002:a00:1::1", Special::Translated),
            ("2001:0:1::1", Special::Translated),
            ("::10.0.0.1", Special::Translated),
            ("::ffff:0:10.0.0.1", Special::Translated),
            ("::ffff:127.0.0.1", Special::Loopback),
            ("::ffff:169.254.169.254", Special::Metadata),
        ] {
            assert_eq!(Special::of(text.parse().unwrap()), Some(special), "{text}");
        }
    }

    #[test]
    fn public_addresses_are_not_special() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "2001:200::1",
            "2001:4860:4860::8888",
        ] {
            assert_eq!(Special::of(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn a_network_is_special_if_an_address_in_it_is() {
        for (text, special) in [
            ("10.0.0.0/8", Some(Special::Private)),
            ("10.1.2.3/32", Some(Special::Private)),
            ("8.0.0.0/6", Some(Special::Private)),
            ("169.254.0.0/16", Some(Special::Metadata)),
            ("169.254.1.0/24", Some(Special::LinkLocal)),
            ("168.63.0.0/16", Some(Special::Metadata)),
            ("0.0.0.0/0", Some(Special::Metadata)),
            ("::/0", Some(Special::Metadata)),
            ("::1/128", Some(Special::Loopback)),
            ("::ffff:8.8.8.8/128", Some(Special::Translated)),
            ("64:ff9b::/96", Some(Special::Translated)),
            ("4000::/8", Some(Special::Reserved)),
            ("2001::/16", Some(Special::Translated)),
            ("8.8.8.0/24", None),
            ("2606:4700::/32", None),
        ] {
            assert_eq!(Special::within(&text.parse().unwrap()), special, "{text}");
        }
    }

    /// Every notation in which an IPv6 address leads to an IPv4 one.
    fn disguises(v4: Ipv4Addr) -> Vec<Ipv6Addr> {
        let [a, b, c, d] = v4.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        vec![
            v4.to_ipv6_mapped(),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, 0xfffe, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, 0x41d0, 0, 0, 0, !high, !low),
        ]
    }

    fn refused_v4() -> impl Strategy<Value = Ipv4Addr> {
        (0..RANGES_V4.len(), any::<u32>()).prop_map(|(range, host)| {
            let range = RANGES_V4[range].0;
            Ipv4Addr::from(u32::from(range.network()) | (host & u32::from(range.hostmask())))
        })
    }

    proptest! {
        #[test]
        fn no_refused_address_passes_in_disguise(v4 in refused_v4()) {
            prop_assert!(Special::of(IpAddr::V4(v4)).is_some(), "{}", v4);
            for disguise in disguises(v4) {
                prop_assert!(Special::of(IpAddr::V6(disguise)).is_some(), "{} as {}", v4, disguise);
            }
        }

        #[test]
        fn no_special_address_hides_in_a_network_that_is_not(bits in any::<u32>(), length in 0..=32_u8) {
            let (address, network) = (Ipv4Addr::from(bits), Ipv4Net::new(bits.into(), length).unwrap());
            prop_assert!(Special::of(address.into()).is_none() || Special::within(&network.trunc().into()).is_some());
        }

        #[test]
        fn nor_in_one_of_ipv6(bits in any::<u128>(), length in 0..=128_u8) {
            let (address, network) = (Ipv6Addr::from(bits), Ipv6Net::new(bits.into(), length).unwrap());
            let is_special = address.to_ipv4_mapped().is_none() && Special::of(address.into()).is_some();
            prop_assert!(!is_special || Special::within(&network.trunc().into()).is_some());
        }

        #[test]
        fn every_disguise_but_the_mapped_is_refused_and_read(v4 in any::<u32>().prop_map(Ipv4Addr::from)) {
            for disguise in disguises(v4).into_iter().skip(1) {
                prop_assert!(Special::of(IpAddr::V6(disguise)).is_some());
                if Ipv6Addr::from(1) < disguise {
                    prop_assert_eq!(translated(IpAddr::V6(disguise)), Some(v4), "{}", disguise);
                }
            }
        }

        #[test]
        fn whatever_is_outside_global_unicast_is_refused(bits in any::<u128>()) {
            let address = Ipv6Addr::from(bits);
            if address.to_ipv4_mapped().is_none() && !GLOBAL_UNICAST.contains(&address) {
                prop_assert!(Special::of(IpAddr::V6(address)).is_some());
            }
        }
    }
}
