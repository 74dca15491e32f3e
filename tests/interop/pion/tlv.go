package main

import "errors"

var errTLV = errors.New("malformed TLV")

// parseTLV reads the resources of one object instance (LwM2M 1.0 TS §6.4.3); it knows no nesting.
func parseTLV(data []byte) (map[uint16][]byte, error) {
	resources := map[uint16][]byte{}
	for len(data) > 0 {
		kind := data[0]
		if kind>>6 != 0b11 {
			return nil, errTLV
		}
		identifierSize := 1 + int(kind>>5&1)
		lengthSize := int(kind >> 3 & 0b11)
		header := 1 + identifierSize + lengthSize
		if len(data) < header {
			return nil, errTLV
		}
		length := int(kind & 0b111)
		if lengthSize > 0 {
			length = number(data[1+identifierSize : header])
		}
		if len(data) < header+length {
			return nil, errTLV
		}
		resources[uint16(number(data[1:1+identifierSize]))] = data[header : header+length]
		data = data[header+length:]
	}
	return resources, nil
}

func number(octets []byte) int {
	value := 0
	for _, octet := range octets {
		value = value<<8 | int(octet)
	}
	return value
}
