import { readFile, stat } from 'node:fs/promises'
import { z } from 'zod'
import { CNI_VERSIONS, type CniVersion } from '../cni/model.ts'
import { cniName } from '../domain/attachment.ts'
import { OffloadError } from '../errors/offload-error.ts'
import { parseWith } from '../errors/parse.ts'

/** Configuration of one plugin of a list; what we do not know is handed on as it is. */
export interface PluginConf {
  /** File name of the plugin's executable. */
  readonly type: string
  /** Capabilities that the plugin wants `runtimeConfig` for. */
  readonly capabilities?: Readonly<Record<string, boolean>>
  readonly [field: string]: unknown
}

/** A CNI network configuration list. */
export interface PluginList {
  /** Version that all plugins of the list are spoken to in. */
  readonly cniVersion: CniVersion
  /** Network name; IPAM plugins keep their reservations under it. */
  readonly name: string
  /** Whether CHECK must not be called. */
  readonly disableCheck: boolean
  /** The plugins in the order of ADD. */
  readonly plugins: readonly PluginConf[]
}

/** A list as it is written in a `.conflist` or in options. */
export interface PluginListInput {
  /** Version of the specification that its plugins are spoken to in. */
  readonly cniVersion: CniVersion
  /** Name of the network that the list makes. @defaultValue cni-offload */
  readonly name?: string | undefined
  /** Whether CHECK must not be called; some write it as text. @defaultValue false */
  readonly disableCheck?: boolean | 'true' | 'false' | undefined
  /** The plugins in the order of ADD, 1–32. */
  readonly plugins: readonly PluginConf[]
}

/** A file name and nothing that leads out of the plugin folders. */
export const pluginType: z.ZodString = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[^/\0]+$/, 'the file name of an executable, without "/"')

/** Schema of {@link PluginList}. The name is `cni-offload` where the list has none. */
export const pluginList: z.ZodType<PluginList, PluginListInput> = z.object({
  cniVersion: z.enum(CNI_VERSIONS),
  name: cniName.default('cni-offload'),
  disableCheck: z.union([z.boolean(), z.enum(['true', 'false']).transform((text) => text === 'true')]).default(false),
  plugins: z
    .array(z.looseObject({ type: pluginType, capabilities: z.record(z.string(), z.boolean()).exactOptional() }))
    .min(1)
    .max(32),
})

/** Where a list comes from. */
export interface PluginListSource {
  /** The list as it is now. @throws OffloadError NOT_READY if there is none yet, INVALID_CONFIG if it is wrong */
  load(): Promise<PluginList>
  /** The list that was loaded last. */
  readonly current: PluginList | undefined
}

/** A list that never changes. */
export function inlineList(list: PluginList): PluginListSource {
  return { current: list, load: () => Promise.resolve(list) }
}

/**
 * A `.conflist` that somebody else writes, possibly after us: most CNI daemons install theirs when they are ready. It is
 * read again whenever the file has changed.
 */
export class PluginListFile implements PluginListSource {
  readonly #path: string
  #current: PluginList | undefined
  #version = ''

  /** @param path - of the `.conflist` */
  constructor(path: string) {
    this.#path = path
  }

  /** The list that was loaded last. */
  get current(): PluginList | undefined {
    return this.#current
  }

  /** The list as the file has it now. @throws OffloadError NOT_READY (cannot be read), INVALID_CONFIG */
  async load(): Promise<PluginList> {
    try {
      const { ino, mtimeMs, size } = await stat(this.#path)
      const version = `${ino} ${mtimeMs} ${size}`
      if (this.#current !== undefined && version === this.#version) return this.#current
      const list = parseList(await readFile(this.#path, 'utf8'), this.#path)
      this.#version = version
      this.#current = list
      return list
    } catch (error) {
      if (OffloadError.is(error)) throw error
      throw new OffloadError('NOT_READY', `plugin list ${this.#path} cannot be read`, {
        cause: error,
        hint: 'Start the CNI that writes it, or correct the path.',
      })
    }
  }
}

function parseList(text: string, path: string): PluginList {
  let decoded: unknown
  try {
    decoded = JSON.parse(text)
  } catch (error) {
    throw new OffloadError('INVALID_CONFIG', `plugin list ${path} is not JSON`, { cause: error })
  }
  return parseWith(pluginList, decoded, `plugin list ${path}`, 'INVALID_CONFIG')
}

/** All capabilities that plugins of the list declare, sorted. */
export function listCapabilities(list: PluginList | undefined): string[] {
  const names = list?.plugins.flatMap(({ capabilities = {} }) => Object.keys(capabilities).filter((name) => capabilities[name] === true))
  return [...new Set(names)].toSorted()
}

/** Types of the IPAM plugins that plugins of the list delegate to. */
export function ipamTypes(list: PluginList): string[] {
  return list.plugins.flatMap((plugin) => {
    const parsed = z.object({ type: pluginType }).safeParse(plugin['ipam'])
    return parsed.success ? [parsed.data.type] : []
  })
}
