import type { ResolvedInstallOptions } from './options.ts'

/** File name of the CNI executable, and so the `type` of our plugin. */
export const SHIM_NAME: string = 'offload-cni'

/** The network configuration list as a runtime reads it. @see https://www.cni.dev/docs/spec/#configuration-format */
export function renderConflist(options: Pick<ResolvedInstallOptions, 'cniVersion' | 'network' | 'capabilities' | 'chain'>): string {
  const { cniVersion, network, capabilities, chain } = options
  const declared = Object.fromEntries(capabilities.map((name) => [name, true]))
  const ours = { type: SHIM_NAME, ...(capabilities.length === 0 ? {} : { capabilities: declared }) }
  return `${JSON.stringify({ cniVersion, name: network, plugins: [ours, ...chain] }, null, 2)}\n`
}
