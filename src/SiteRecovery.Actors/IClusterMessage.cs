namespace SiteRecovery.Actors;

/// <summary>Marks a message that may cross nodes and is not one of Domain's: it finds its serializer by this.</summary>
public interface IClusterMessage;
