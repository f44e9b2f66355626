import { describe, expect, it } from 'vitest'
import { ERROR_CODES, isErrorCode } from '../../src/index.ts'

describe('ERROR_CODES', () => {
  // A released code keeps its name and its numbers: whoever changes a line here breaks somebody's alert or client.
  it('is what was released', () => {
    const table = Object.entries(ERROR_CODES).map(
      ([code, { cni, grpc, retryable }]) => `${code} ${cni} ${grpc}${retryable ? ' retryable' : ''}`,
    )
    expect(table).toEqual([
      'INCOMPATIBLE_VERSION 1 3',
      'UNSUPPORTED_FIELD 2 3',
      'INVALID_ENVIRONMENT 4 3',
      'IO_FAILURE 5 13 retryable',
      'UNDECODABLE 6 3',
      'INVALID_NETCONF 7 3',
      'OWN_NETNS 8 3',
      'NO_FREE_VF 11 8 retryable',
      'RESOURCE_EXHAUSTED 11 8 retryable',
      'AGENT_UNREACHABLE 11 14 retryable',
      'DEADLINE_EXCEEDED 11 4 retryable',
      'CANCELLED 11 1 retryable',
      'NOT_READY 50 9 retryable',
      'LIMITED_CONNECTIVITY 51 9 retryable',
      'ALREADY_EXISTS 100 6',
      'CHECK_FAILED 101 9',
      'ADAPTER_FAILED 102 2 retryable',
      'KERNEL_REFUSED 103 13 retryable',
      'JOURNAL_FAILURE 104 13 retryable',
      'PERMISSION_DENIED 105 7',
      'HARDWARE_FAILURE 106 13 retryable',
      'INVALID_CONFIG 107 3',
      'INCOMPATIBLE_PEER 108 9',
      'NOT_FOUND 109 5',
      'INTERNAL 999 13',
    ])
  })

  it('never uses code 3, which tells a runtime that there is nothing to clean up', () => {
    expect(Object.values(ERROR_CODES).some(({ cni }) => cni === 3)).toBe(false)
  })

  it('recognises its own codes only', () => {
    expect([isErrorCode('INTERNAL'), isErrorCode('toString'), isErrorCode('')]).toEqual([true, false, false])
  })
})
