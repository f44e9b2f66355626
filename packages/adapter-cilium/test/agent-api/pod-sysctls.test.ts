import { describe, expect, it } from 'vitest'
import { podSysctls } from '../../src/agent-api/pod-sysctls.ts'
import { configReply } from '../../src/api/schemas.ts'

const settings = (more: object): unknown =>
  podSysctls(configReply.parse({ status: { addressing: {}, deviceMTU: 1500, 'ipam-mode': 'cluster-pool', ...more } }).status)

describe('the kernel settings of a pod', () => {
  it('are none for an agent that says nothing of them, as one of 1.16', () => {
    expect(settings({})).toEqual({})
    expect(settings({ ipLocalReservedPorts: '', packetizationLayerPMTUDMode: '', enableBBRHostNamespaceOnly: false })).toEqual({})
  })

  it.each(['0', '1', '2'])('are those by which it looks for the MTU of a path, mode %s', (mode) => {
    const probing = { 'net.ipv4.tcp_base_mss': '1024', 'net.ipv4.tcp_mtu_probe_floor': '48', 'net.ipv4.tcp_mtu_probing': mode }
    expect(settings({ packetizationLayerPMTUDMode: mode })).toEqual(probing)
  })

  it('are the reserved ports, and no BBR where that is for the node alone', () => {
    expect(settings({ ipLocalReservedPorts: '8472,51871', enableBBRHostNamespaceOnly: true })).toEqual({
      'net.ipv4.ip_local_reserved_ports': '8472,51871',
      'net.ipv4.tcp_congestion_control': 'cubic',
    })
  })

  it('of an unknown kind are told, not guessed', () => {
    expect(() => settings({ packetizationLayerPMTUDMode: 'blackhole' })).toThrow('packetizationLayerPMTUDMode')
  })
})
