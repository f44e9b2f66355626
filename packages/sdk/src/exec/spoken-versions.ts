import { z } from 'zod'
import type { CniVersion } from '../cni/model.ts'
import { OffloadError } from '../errors/offload-error.ts'
import type { PluginExecutor } from './plugin-executor.ts'

const versionReply = z.object({ supportedVersions: z.array(z.string()).default(['0.1.0', '0.2.0']) })

/** Which versions of the specification plugins speak. */
export class SpokenVersions {
  readonly #executor: PluginExecutor
  readonly #speaks = new Set<string>()

  /** Plugins are asked by `executor`. */
  constructor(executor: PluginExecutor) {
    this.#executor = executor
  }

  /**
   * Makes sure that a plugin is there and speaks a version. One that has said yes is not asked again: polls of the status are frequent
   * and processes are not free.
   *
   * @throws OffloadError NOT_READY, or as of PluginExecutor.run
   */
  async require(type: string, version: CniVersion, signal: AbortSignal): Promise<void> {
    const id = `${await this.#executor.find(type)} ${version}`
    if (this.#speaks.has(id)) return
    const stdin = JSON.stringify({ cniVersion: version })
    const output = await this.#executor.run({ verb: 'VERSION', type, containerId: '', netns: '', ifName: '', args: '', stdin }, signal)
    const versions = parseVersions(output, type)
    if (!versions.includes(version))
      throw new OffloadError('NOT_READY', `plugin "${type}" speaks ${versions.join(', ')}, not ${version}`, {
        hint: 'Lower cniVersion of the plugin list or install a newer plugin.',
      })
    this.#speaks.add(id)
  }
}

function parseVersions(output: string, type: string): readonly string[] {
  try {
    return versionReply.parse(JSON.parse(output)).supportedVersions
  } catch (error) {
    throw new OffloadError('NOT_READY', `plugin "${type}" gives no valid answer to VERSION: ${JSON.stringify(output.slice(0, 256))}`, {
      cause: error,
    })
  }
}
