import { OffloadError } from '@cni-offload/sdk'
import { PluginListFile, type PluginList, type PluginListSource } from '@cni-offload/sdk/exec'
import { z } from 'zod'
import { CILIUM_CNI } from './plugin-failure.ts'

/**
 * A plugin list that gives pods Cilium's network: `cilium-cni` makes the interface, so it is the first.
 *
 * @throws OffloadError INVALID_CONFIG
 */
export function requireCilium(list: PluginList): PluginList {
  const at = list.plugins.findIndex(({ type }) => type === CILIUM_CNI)
  if (at === -1)
    throw wrong(list, `has no plugin "${CILIUM_CNI}"`, 'Use the list that cilium-agent writes, or the adapter "delegate" for other CNIs.')
  const mode = list.plugins[at]?.['chaining-mode'] ?? 'none'
  if (at > 0 || (mode !== 'none' && mode !== ''))
    throw wrong(
      list,
      at > 0 ? `chains "${CILIUM_CNI}" after "${list.plugins[0]?.type}"` : `has chaining-mode = ${String(mode)}`,
      'Set cni.chainingMode=none: Cilium itself has to make the pods’ interfaces.',
    )
  return list
}

/** Whether another plugin hands out the addresses: cilium-cni calls it, and has to be called to give them back. */
export function delegatesIpam({ plugins }: PluginList): boolean {
  const parsed = z.object({ type: z.string().min(1) }).safeParse(plugins[0]?.['ipam'])
  return parsed.success
}

const wrong = ({ name }: PluginList, what: string, hint: string): OffloadError =>
  new OffloadError('INVALID_CONFIG', `plugin list "${name}" ${what}`, { hint })

/** The list in a file that cilium-agent writes. */
export class CiliumListFile implements PluginListSource {
  readonly #file: PluginListFile

  /** @param path - of the `.conflist` */
  constructor(path: string) {
    this.#file = new PluginListFile(path)
  }

  /** The list that was loaded last. */
  get current(): PluginList | undefined {
    return this.#file.current
  }

  /** As of PluginListFile. @throws OffloadError INVALID_CONFIG also for a list that is not Cilium's */
  async load(): Promise<PluginList> {
    return requireCilium(await this.#file.load())
  }
}
