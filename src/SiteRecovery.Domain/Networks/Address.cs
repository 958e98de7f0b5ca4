using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace SiteRecovery.Domain.Networks;

/// <summary>An IPv4 or IPv6 address as the number that it is.</summary>
public readonly record struct Address(bool IsV6, UInt128 Bits)
{
    private const string LinkLocalSubnet = "fe80::/10";

    /// <summary>In bits.</summary>
    public int Length => IsV6 ? 128 : 32;

    public bool IsLinkLocal => IsV6 && Subnet.Parse(LinkLocalSubnet)!.Value.Contains(this);

    /// <summary>Null: it is no address. IPv4 needs its four parts: "10.1" would be 10.0.0.1 to some and nothing to others.</summary>
    public static Address? Parse(string? text)
    {
        if (text is null || text.Contains('%', StringComparison.Ordinal) || text.Contains('[', StringComparison.Ordinal) || !IPAddress.TryParse(text, out var address)) return null;
        if (address.AddressFamily == AddressFamily.InterNetwork)
            return address.ToString() == text ? new Address(false, BinaryPrimitives.ReadUInt32BigEndian(address.GetAddressBytes())) : null;
        return new Address(true, BinaryPrimitives.ReadUInt128BigEndian(address.GetAddressBytes()));
    }

    public override string ToString()
    {
        Span<byte> bytes = stackalloc byte[16];
        if (IsV6) BinaryPrimitives.WriteUInt128BigEndian(bytes, Bits);
        else BinaryPrimitives.WriteUInt32BigEndian(bytes, (uint)Bits);
        return new IPAddress(IsV6 ? bytes : bytes[..4]).ToString();
    }
}

/// <summary>A card's address with the length of its network's prefix: "10.0.0.5/24".</summary>
public readonly record struct CardAddress(Address Address, int Prefix)
{
    public Subnet Subnet => new(new Address(Address.IsV6, Address.Bits & ~Subnet.HostMask(Address.Length - Prefix)), Prefix);

    /// <summary>Null: it is none, or has no prefix length.</summary>
    public static CardAddress? Parse(string? text) => text?.Split('/') is [var address, var length] && Address.Parse(address) is { } parsed
        && int.TryParse(length, NumberStyles.None, CultureInfo.InvariantCulture, out var prefix) && prefix <= parsed.Length ? new CardAddress(parsed, prefix) : null;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Address}/{Prefix}");
}

/// <param name="First">Its host part is zero.</param>
public readonly record struct Subnet(Address First, int Prefix)
{
    /// <summary>Bits of the host part.</summary>
    public int HostLength => First.Length - Prefix;

    /// <summary>Null: it is none, or has a host part.</summary>
    public static Subnet? Parse(string? text) => CardAddress.Parse(text) is { } card && card.Subnet.First == card.Address ? card.Subnet : null;

    public bool Contains(Address address) => address.IsV6 == First.IsV6 && (address.Bits & ~HostMask(HostLength)) == First.Bits;

    public bool Overlaps(Subnet other) => Prefix <= other.Prefix ? Contains(other.First) : other.Contains(First);

    /// <summary>False for what names the network itself or all of its hosts. A point-to-point network (/31, /32, /127, /128) has neither.</summary>
    public bool CanBeHost(Address address) => Contains(address) && (HostLength <= 1 || (address != First && (First.IsV6 || address.Bits != (First.Bits | HostMask(HostLength)))));

    /// <summary>The address of the same host in another subnet. Null: its host part does not fit there.</summary>
    public CardAddress? Move(Address address, Subnet to)
    {
        var host = address.Bits & HostMask(HostLength);
        return host == (host & HostMask(to.HostLength)) ? new CardAddress(new Address(to.First.IsV6, to.First.Bits | host), to.Prefix) : null;
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{First}/{Prefix}");

    // A shift by all of its bits leaves a number as it is.
    internal static UInt128 HostMask(int length) => length == 0 ? UInt128.Zero : UInt128.MaxValue >> (128 - length);
}
