const INHERITED = ['NODE_COMPILE_CACHE', 'NODE_OPTIONS'] as const

/**
 * How the Node that runs this process was told to load code, for a Node that is started with an environment of its own: without it, that one
 * starts slower, or with other options.
 *
 * @param from - variables that are set @defaultValue those of this process
 */
export function nodeEnvironment(from: Readonly<Record<string, string | undefined>> = process.env): Record<string, string> {
  return Object.fromEntries(
    INHERITED.flatMap((name) => {
      const value = from[name]
      return value === undefined ? [] : [[name, value]]
    }),
  )
}
