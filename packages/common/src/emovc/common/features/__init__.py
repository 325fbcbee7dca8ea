"""Features too costly to compute in every epoch: extracted once, kept in a store."""
