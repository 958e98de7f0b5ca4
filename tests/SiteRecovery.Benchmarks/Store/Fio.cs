using System.Globalization;
using System.Text.Json.Nodes;

namespace SiteRecovery.Benchmarks;

/// <summary>The limits of the disk, as fio measures them.</summary>
public static class Fio
{
    /// <returns>MB/s.</returns>
    public static async Task<double> WriteAsync(string folder, long bytes, int jobs, int blockBytes, int blocksPerFlush, CancellationToken stop)
    {
        var job = await RunAsync(["--directory=" + folder, "--rw=write", $"--bs={blockBytes}", $"--size={bytes}", $"--numjobs={jobs}", "--group_reporting", "--ioengine=psync",
            $"--fdatasync={blocksPerFlush}", "--end_fsync=1", "--unlink=1"], stop);
        return Rate(job["write"]!, bytes * jobs);
    }

    /// <summary>From the disk: fio lets the kernel forget the file first.</summary>
    /// <returns>MB/s.</returns>
    public static async Task<double> ReadAsync(string file, long bytes, bool direct, CancellationToken stop) =>
        Rate((await RunAsync(["--filename=" + file, "--rw=read", "--bs=1M", $"--size={bytes}", "--ioengine=psync", $"--direct={(direct ? 1 : 0)}"], stop))["read"]!, bytes);

    /// <returns>MB/s.</returns>
    public static async Task<double> ReadNbdAsync(string uri, long bytes, CancellationToken stop) =>
        Rate((await RunAsync(["--ioengine=nbd", "--uri=" + uri, "--rw=read", "--bs=1M", "--iodepth=4", $"--size={bytes}"], stop))["read"]!, bytes);

    /// <summary>4 KiB each, one after the other, from the disk.</summary>
    /// <returns>Microseconds per read.</returns>
    public static async Task<double> RandomReadAsync(string file, long bytes, int reads, CancellationToken stop)
    {
        var read = (await RunAsync(["--filename=" + file, "--rw=randread", "--bs=4k", $"--size={bytes}", $"--io_size={(long)reads * 4096}", "--ioengine=psync", "--norandommap"], stop))["read"]!;
        return read["lat_ns"]!["mean"]!.GetValue<double>() / 1000;
    }

    private static async Task<JsonNode> RunAsync(string[] arguments, CancellationToken stop)
    {
        var output = await Tool.RunAsync("fio", ["--name=limit", "--output-format=json", "--thread", .. arguments], stop);
        return JsonNode.Parse(output[output.IndexOf('{', StringComparison.Ordinal)..])!["jobs"]![0]!;
    }

    private static double Rate(JsonNode direction, long bytes)
    {
        var done = direction["io_bytes"]!.GetValue<long>();
        if (done != bytes) throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture, $"fio moved {done} bytes of {bytes}"));
        return bytes / (direction["runtime"]!.GetValue<double>() / 1000) / 1e6;
    }
}
