using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace SiteRecovery.DataPlane.Hypervisors;

/// <summary>The calls of libvirt's C library that are needed, as its headers have them. Errors are per thread: ask for them on the thread that made the call.</summary>
internal static partial class LibvirtLibrary
{
    private const string Name = "libvirt.so.0";
    internal const uint UndefineManagedSave = 1, UndefineSnapshots = 2, UndefineVariables = 4, UndefineCheckpoints = 16;
    internal const uint XmlSecure = 1, XmlInactive = 2;
    internal const int ErrorNoDomain = 42, ErrorSystem = 38, ErrorRpc = 39;

    [LibraryImport(Name, EntryPoint = "virConnectOpen", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial nint Open(string uri);

    [LibraryImport(Name, EntryPoint = "virConnectClose")]
    internal static partial int Close(nint connection);

    [LibraryImport(Name, EntryPoint = "virConnectIsAlive")]
    internal static partial int IsAlive(LibvirtHandle connection);

    [LibraryImport(Name, EntryPoint = "virConnectGetCapabilities")]
    internal static partial nint Capabilities(LibvirtHandle connection);

    /// <summary>An array of domains, closed by a null, in memory that the caller frees.</summary>
    [LibraryImport(Name, EntryPoint = "virConnectListAllDomains")]
    internal static partial int ListDomains(LibvirtHandle connection, out nint domains, uint flags);

    [LibraryImport(Name, EntryPoint = "virDomainLookupByName", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial nint Lookup(LibvirtHandle connection, string name);

    [LibraryImport(Name, EntryPoint = "virDomainDefineXML", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial nint Define(LibvirtHandle connection, string xml);

    [LibraryImport(Name, EntryPoint = "virDomainFree")]
    internal static partial int FreeDomain(nint domain);

    [LibraryImport(Name, EntryPoint = "virDomainGetXMLDesc")]
    internal static partial nint Xml(LibvirtHandle domain, uint flags);

    [LibraryImport(Name, EntryPoint = "virDomainGetState")]
    internal static partial int State(LibvirtHandle domain, out int state, out int reason, uint flags);

    [LibraryImport(Name, EntryPoint = "virDomainGetBlockInfo", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int BlockInfo(LibvirtHandle domain, string disk, out LibvirtBlockInfo info, uint flags);

    [LibraryImport(Name, EntryPoint = "virDomainCreate")]
    internal static partial int Start(LibvirtHandle domain);

    [LibraryImport(Name, EntryPoint = "virDomainResume")]
    internal static partial int Resume(LibvirtHandle domain);

    [LibraryImport(Name, EntryPoint = "virDomainShutdown")]
    internal static partial int ShutDown(LibvirtHandle domain);

    [LibraryImport(Name, EntryPoint = "virDomainDestroy")]
    internal static partial int Destroy(LibvirtHandle domain);

    [LibraryImport(Name, EntryPoint = "virDomainUndefineFlags")]
    internal static partial int Undefine(LibvirtHandle domain, uint flags);

    [LibraryImport("libc", EntryPoint = "free")]
    internal static partial void Free(nint memory);

    [LibraryImport(Name, EntryPoint = "virGetLastError")]
    private static unsafe partial LibvirtError* LastErrorOfThread();

    [LibraryImport(Name, EntryPoint = "virSetErrorFunc")]
    private static unsafe partial void SetErrorFunction(nint data, delegate* unmanaged[Cdecl]<nint, LibvirtError*, void> function);

    /// <summary>Libvirt writes every error to the standard error output, unless somebody takes it: those that matter are thrown.</summary>
    internal static unsafe void TakeErrors() => SetErrorFunction(0, &Ignore);

    internal static unsafe (int Code, string Message) LastError()
    {
        var error = LastErrorOfThread();
        return error == null ? (0, "libvirt does not say why") : (error->Code, Marshal.PtrToStringUTF8(error->Message) ?? "libvirt does not say why");
    }

    /// <summary>Takes over a string that libvirt allocated; null for null.</summary>
    internal static string? TakeString(nint text)
    {
        if (text == 0) return null;
        try
        {
            return Marshal.PtrToStringUTF8(text);
        }
        finally
        {
            Free(text);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void Ignore(nint data, LibvirtError* error)
    {
        // LastError has it.
    }
}

/// <summary>The beginning of virError.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct LibvirtError
{
    internal int Code, Domain;
    internal nint Message;
    internal int Level;
}

[StructLayout(LayoutKind.Sequential)]
internal struct LibvirtBlockInfo
{
    internal ulong CapacityBytes, AllocationBytes, PhysicalBytes;
}

/// <summary>A connection or a domain of libvirt's; closed when nobody uses it any more, also while another thread is in a call.</summary>
internal sealed class LibvirtHandle : SafeHandle
{
    private readonly Func<nint, int> _close;

    private LibvirtHandle(nint handle, Func<nint, int> close) : base(0, ownsHandle: true)
    {
        _close = close;
        SetHandle(handle);
    }

    public override bool IsInvalid => handle == 0;

    internal static LibvirtHandle Connection(nint handle) => new(handle, LibvirtLibrary.Close);
    internal static LibvirtHandle Domain(nint handle) => new(handle, LibvirtLibrary.FreeDomain);

    protected override bool ReleaseHandle() => _close(handle) >= 0;
}
