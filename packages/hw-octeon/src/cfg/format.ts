import { formatLibconfig } from './libconfig-writer.ts'
import type { ConfigScalar, ConfigSetting, ConfigValue } from './libconfig-value.ts'
import type { AgentConfig, AgentInterface, AgentPf } from './model.ts'

const int = (value: number, hex = false): ConfigScalar => ({ kind: 'int', value, hex })
const setting = (name: string, value: ConfigValue): ConfigSetting => ({ name, value })
const group = (settings: readonly ConfigSetting[]): ConfigValue => ({ kind: 'group', settings })
const list = (items: readonly ConfigValue[]): ConfigValue => ({ kind: 'list', items })

/**
 * A configuration as the file that the control agent reads when it starts.
 *
 * @param comment - lines in front of it
 */
export function formatAgentConfig(config: AgentConfig, comment: readonly string[] = []): string {
  const pems = config.pems.map(({ pfs }, index) => group([setting('idx', int(index)), setting('pfs', list(pfs.map(pfGroup)))]))
  return formatLibconfig({ kind: 'group', settings: [setting('soc', group([setting('pems', list(pems))]))] }, comment)
}

function pfGroup(pf: AgentPf, index: number): ConfigValue {
  return group([
    setting('idx', int(index)),
    ...interfaceSettings(pf),
    setting('hb_interval', int(pf.heartbeat.intervalMs)),
    setting('hb_miss_count', int(pf.heartbeat.missCount)),
    setting('vfs', list(pf.vfs.map((vf, vfIndex) => group([setting('idx', int(vfIndex)), ...interfaceSettings(vf)])))),
  ])
}

function interfaceSettings(of: AgentInterface): ConfigSetting[] {
  const bytes = of.mac.split(':').map((byte) => int(Number.parseInt(byte, 16), true))
  return [
    setting('mac_addr', { kind: 'array', items: bytes }),
    setting('link_state', int(of.linkUp ? 1 : 0)),
    setting('rx_state', int(of.rxUp ? 1 : 0)),
    setting('autoneg', int(of.autoneg, true)),
    setting('pause_mode', int(of.pauseMode, true)),
    setting('speed', int(of.speedMbps)),
    setting('supported_modes', int(of.supportedModes, true)),
    setting('advertised_modes', int(of.advertisedModes, true)),
    // The agent's own default is left out: its configurations have it nowhere.
    ...(of.pkind === 0 ? [] : [setting('pkind', int(of.pkind))]),
  ]
}
