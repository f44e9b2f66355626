import type { z } from 'zod'
import { OffloadError } from '../errors/offload-error.ts'
import { parseWith } from '../errors/parse.ts'
import type { CniAdapter } from './adapter.ts'
import type { Clock } from './clock.ts'
import type { DpuDevice, HostDevice } from './hardware.ts'
import type { Logger } from './logger.ts'

/** What a plugin of each kind makes. */
export interface PluginKinds {
  /** A {@link CniAdapter} for the agent. */
  readonly adapter: CniAdapter
  /** The {@link HostDevice} half of a hardware backend, for the host daemon. */
  readonly 'host-device': HostDevice
  /** The {@link DpuDevice} half of a hardware backend, for the agent. */
  readonly 'dpu-device': DpuDevice
}

/** Name of a kind of plugin. */
export type PluginKind = keyof PluginKinds

/** What every plugin may depend on. */
export interface PluginDeps {
  /** Logger that carries the plugin's name. */
  readonly log: Logger
  /** Time. */
  readonly clock: Clock
  /** Folder of the plugin's own for what must survive a restart; it exists and belongs to this plugin alone. */
  readonly stateDir: string
}

/** A plugin as its author writes it. */
export interface PluginDefinition<K extends PluginKind, S extends z.ZodType> {
  /** What it makes. */
  readonly kind: K
  /** Name in configuration, logs and metrics. */
  readonly name: string
  /** Version of the contract that it implements. */
  readonly specVersion: 'v1'
  /** Schema of its options; defaults are its defaults. */
  readonly options: S
  /** Makes the instance; options are already parsed. */
  create(deps: PluginDeps, options: z.output<S>): PluginKinds[K] | Promise<PluginKinds[K]>
}

/** A plugin with its options parsed, ready to be made when the daemon has its dependencies. */
export interface ConfiguredPlugin<K extends PluginKind> {
  /** What it makes. */
  readonly kind: K
  /** Name in configuration, logs and metrics. */
  readonly name: string
  /** Makes the instance. */
  create(deps: PluginDeps): Promise<PluginKinds[K]>
}

/** A plugin: call it with options in code, or name its package and options in YAML. */
export interface Plugin<K extends PluginKind, S extends z.ZodType> {
  /** Parses the options. @throws OffloadError INVALID_CONFIG that names option, value and what is expected */
  (options?: z.input<S>): ConfiguredPlugin<K>
  /** The definition that it was made from. */
  readonly definition: PluginDefinition<K, S>
}

/**
 * Turns a definition into a plugin.
 *
 * @throws OffloadError INCOMPATIBLE_PEER (when created) if the instance does not implement the contract version that the
 * definition promises
 */
export function definePlugin<K extends PluginKind, S extends z.ZodType>(definition: PluginDefinition<K, S>): Plugin<K, S> {
  const configure = (input?: z.input<S>): ConfiguredPlugin<K> => {
    const options = parseWith(definition.options, input ?? {}, `options of ${definition.kind} "${definition.name}"`, 'INVALID_CONFIG')
    return {
      kind: definition.kind,
      name: definition.name,
      async create(deps) {
        const instance = await definition.create(deps, options)
        if (instance.specVersion !== definition.specVersion)
          throw new OffloadError(
            'INCOMPATIBLE_PEER',
            `${definition.kind} "${definition.name}" implements contract ${String(instance.specVersion)}, its definition says ${definition.specVersion}`,
          )
        return instance
      },
    }
  }
  return Object.assign(configure, { definition })
}

/**
 * Whether a value, for example a module's export, is a plugin of some kind.
 */
export function isPlugin(value: unknown): value is Plugin<PluginKind, z.ZodType> {
  return (
    typeof value === 'function' &&
    'definition' in value &&
    typeof value.definition === 'object' &&
    value.definition !== null &&
    'kind' in value.definition
  )
}
