/** Preloaded into every process of the demo: when the demo dies, however it dies, they do not stay behind. */
process.on('disconnect', () => process.exit(1));
// The channel alone keeps nobody alive.
process.channel?.unref();
