/** Largest message that either side sends or accepts, in bytes. */
export const MAX_MESSAGE_BYTES: number = 8 * 1024 * 1024

/** Longest JSON text (netconf, prevResult, runtimeConfig) in a message, in UTF-16 units. */
export const MAX_JSON_LENGTH: number = 4 * 1024 * 1024

/** Longest name, version, id or other short text in a message, in UTF-16 units. */
export const MAX_TEXT_LENGTH: number = 1024

/** Most entries of a list or map in a message. */
export const MAX_LIST_LENGTH: number = 1024
